"""How well reward models order held-out responses: Hone's recipe beside TRL's, a linear model and responses' length."""
