"""One module a command: HELP, add_arguments() and run(). Recipes and torch are imported when a command runs."""
