"""What runs leave on the disk, and what of it may go."""
