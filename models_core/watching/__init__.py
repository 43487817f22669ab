"""Watching a policy learn: on prompts it never learns from, by bounds it must keep, over the distance it has gone.

`held_out` chooses the prompts, `measuring` answers them with the policy as it would be saved, `guards` end a run that
only games its reward, `frontier` draws reward against the distance, and `watch` is what the recipe calls.
"""
