"""What tests run in: the machine's programs, the surroundings of the process, a browser, clients."""
