"""What a supervisor looks at while a child runs: its lease, its progress, what it uses of the machine."""
