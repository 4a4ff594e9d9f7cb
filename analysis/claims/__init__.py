"""The lecture's claims C1 to C21: a yaml each, and a module of the same name where its evidence is its own; nothing to
register.

evidence(study) -> frame     what is known: computed exactly, or read from the runs that the yaml lists
measure(evidence) -> ClaimFinding the numbers that answer the yaml's questions, place by place: a pure function
picture(evidence) -> Figure  what it looks like

The yaml declares the questions with the smallest effects that matter; `analysis.verdicts` judges.
"""
