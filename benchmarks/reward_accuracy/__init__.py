"""How well reward models order held-out answers: Hone's recipe beside TRL's, a linear model and answers' length."""
