"""How the lecture's claims are answered; the claims themselves are the yamls and modules of `analysis/claims`.

estimates   a number with limits at every level: Exact, Mean, Share
verdict     the rule: questions, places, the verdict, Holm's family of claims
claim       a claim's yaml and module, found by their names
study       the runs that a claim reads
command     `python -m analysis claims`;  page, draw: what it shows
variances, projections, learning, rivals    evidence that several claims share
"""
