"""What costs nothing: the length of a response, and a linear model of its words."""

from collections.abc import Sequence

import numpy as np

from benchmarks.reward_accuracy.judgments import strict_pairs
from models_core.contract.rows.records import Ranking

Scores = list[list[float]]


def length(held_out: Sequence[Ranking]) -> Scores:
    """The longer, in characters, the better."""
    return [[float(len(response.text)) for response in ranking.responses] for ranking in held_out]


def words(training: Sequence[Ranking], held_out: Sequence[Ranking]) -> Scores:
    """Logistic regression on differences of TF-IDF vectors of words and pairs of words; each ranking counts once.

    A score is the linear function that the differences are fitted with (Bradley-Terry), so K responses are ordered too.
    Its strength of regularisation is scikit-learn's default; nothing was tuned on the held-out rows.
    """
    from scipy import sparse
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    features = vectorizer.fit_transform([response.text for ranking in training for response in ranking.responses])
    differences, weights, start = [], [], 0
    for ranking in training:
        pairs = strict_pairs(ranking)
        better, worse = (np.array(side) + start for side in zip(*pairs, strict=True))
        differences.append(features[better] - features[worse])
        weights += [1 / len(pairs)] * len(pairs)
        start += len(ranking.responses)
    # Each pair both ways round: two classes, and no direction is favoured.
    pairs_matrix = sparse.vstack(differences)
    rows = sparse.vstack([pairs_matrix, -pairs_matrix])
    labels = np.repeat([1, 0], pairs_matrix.shape[0])
    model = LogisticRegression(fit_intercept=False, max_iter=2000)
    model.fit(rows, labels, sample_weight=np.tile(weights, 2))
    return [
        (vectorizer.transform([response.text for response in ranking.responses]) @ model.coef_[0]).tolist()
        for ranking in held_out
    ]
