"""The lecture's claims C1 to C21 as verdicts: a module and a yaml each, found by their names; nothing to register.

evidence(study) -> frame     what is known: computed exactly, or read from the runs that the yaml lists
judge(evidence) -> Verdict   what it says, a pure function
picture(evidence) -> Figure  what it looks like
"""
