"""scikit-learn's ridge, logistic regression and discriminant analysis on made-up features.

python crates/taper-learn/golden/heads.py > crates/taper-learn/golden/heads.json
"""

import json

import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, RidgeCV

rng = np.random.default_rng(7)
ways, d, n, few = 4, 24, 80, 16
labels = np.arange(n) % ways
centers = rng.normal(size=(ways, d))
features = np.round(centers[labels] + 1.5 * rng.normal(size=(n, d)) * rng.uniform(0.3, 2, size=d), 4)
targets = np.where(labels[:, None] == np.arange(ways), 1.0, -1.0)
alphas = [0.01, 0.1, 1.0, 10.0, 100.0, 1000.0]


def linear(model):
    return {"weight": model.coef_.ravel().tolist(), "bias": model.intercept_.tolist()}


def lda(rows):
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    return linear(model.fit(features[:rows], labels[:rows]))


def rda(rows):
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.3)
    return linear(model.fit(features[:rows], labels[:rows]))


def logistic(c):
    return {"c": c, **linear(LogisticRegression(C=c, tol=1e-12, max_iter=100_000).fit(features, labels))}


ridge = RidgeCV(alphas=alphas, store_cv_results=True).fit(features, targets)
print(
    json.dumps(
        {
            "features": features.tolist(),
            "labels": labels.tolist(),
            "ways": ways,
            "few": few,
            "ridge": {
                "alphas": alphas,
                "leave_one_out_errors": ridge.cv_results_.mean(axis=(0, 1)).tolist(),
                "best": ridge.alpha_,
                **linear(ridge),
            },
            "logistic": [logistic(c) for c in (0.01, 1.0, 10.0)],
            "lda": lda(n),
            "lda_few": lda(few),
            "rda": rda(n),
            "rda_few": rda(few),
        }
    )
)
