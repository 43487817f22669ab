"""One training recipe a module; each `train()` is read in one sitting."""
