"""What leaves a project: personal data taken out, and what a data set is made of."""
