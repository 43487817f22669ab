"""Messages to workers, and which workers consume which queues."""
