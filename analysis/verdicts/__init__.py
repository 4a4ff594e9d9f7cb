"""How the lecture's claims are answered.

    estimates   a number with limits at every level: Exact, Mean, Share
    question    what a claim asks of a number, and the smallest effect that matters
    verdict     the rule: places, the verdict, Holm's family of claims
    claim       a claim's yaml and module, found by their names
    study       the runs that a claim reads
    command     `python -m ablate claims`;  page, draw: what it shows
    unbiased, variances, shifts    what answers several claims;  learning, rivals: evidence that several share

The claims themselves are the yamls and modules of `analysis/claims`.
"""
