"""The work of labelers: the queue, what is submitted, what becomes of it, chats, the exam, task kinds."""
