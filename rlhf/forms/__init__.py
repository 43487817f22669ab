"""Forms of runs and of the loop, a module for each subject."""
