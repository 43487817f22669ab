"""What every training recipe shares: the loop, checkpoints, batches, schedules, optimizers, processes."""
