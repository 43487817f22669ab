"""A manager's list of tasks: filters that an address keeps (`task_filters.py`), and pages of what they let through
(`task_listing.py`), each found in bounded time however many tasks there are.
"""
