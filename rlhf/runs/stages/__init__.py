"""The stages of training, a module each: see spec.StageSpec and registry.STAGE_SPECS."""
