"""The recipes that claims share: the sweep of the temperature, its hard and linear relatives, and what they are held
against."""

from __future__ import annotations

from hypercon.experiments.papers.recipe import Recipe

TEMPERATURES = (0.005, 0.02, 0.05, 0.07, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 2.5, 5.0)
PLAIN = {tau: Recipe("info_nce", tau) for tau in TEMPERATURES}
HARD = {tau: Recipe("hard_info_nce", tau, alpha=0.1) for tau in (0.07, 0.2, 0.3, 0.7, 1.0)}
SIMPLE, HARD_SIMPLE, TRIPLET = Recipe("simple"), Recipe("hard_simple", alpha=0.1), Recipe("triplet")
UNTRAINED = Recipe("none")

# what is said to leave the dilemma, each at one or two settings
ESCAPES = {
    "hard": {"hard at 1": HARD[1.0], "hard simple": HARD_SIMPLE},
    "macl": {"MACL at 0.1": Recipe("macl", 0.1)},
    "cosine": {"cosine 0.07 to 0.5": Recipe("cosine")},
    "learned": {"learned from 0.07": Recipe("learned")},
    "dcl": {f"DCL at {tau:g}": Recipe("dcl", tau) for tau in (0.1, 0.5)},
    "debiased": {f"debiased at {tau:g}": Recipe("debiased", tau) for tau in (0.1, 0.5)},
    "hcl": {f"HCL at {tau:g}": Recipe("hcl", tau) for tau in (0.1, 0.5)},
}

# the two parts of Wang & Isola, alone and together; "plain" heads can collapse, as theirs could
RATIOS = {r: Recipe("align_uniform", align=r, head="plain") for r in (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)}
TOGETHER = {
    **{f"{r:g} align + uniform(2)": Recipe("align_uniform", align=r) for r in (0.5, 1.0, 2.0)},
    **{f"align + uniform({t:g})": Recipe("align_uniform", t=t) for t in (1.0, 5.0)},
}
ALIGN_ONLY, UNIFORM_ONLY = Recipe("alignment", head="plain"), Recipe("uniformity")
BAD_START = Recipe("info_nce", 2.5, head="plain")
FINETUNED = {
    "alignment": Recipe("alignment", head="plain", share=0.5, start=BAD_START),
    "uniformity": Recipe("uniformity", head="plain", share=0.5, start=BAD_START),
    "both": Recipe("align_uniform", head="plain", share=0.5, start=BAD_START),
}

CIRCLE = {
    "random": Recipe("none", dim=2),
    "supervised": Recipe("supervised", dim=2),
    "contrastive": Recipe("info_nce", 0.5, dim=2),
}
BATCHES = {
    loss: {size: Recipe(loss, 0.1, batch_size=size) for size in (16, 32, 64, 256)} for loss in ("nt_xent", "dcl")
}
STRENGTHS = {s: Recipe("info_nce", 0.2, strength=s) for s in (0.3, 1.0, 1.7, 2.5)}
RATES = {  # at a temperature of 1, which is none: products off the sphere have a scale of their own
    head: {
        rate: Recipe("info_nce", 1.0, head=head, optimizer="sgd", rate=rate, share=0.25)
        for rate in (0.0001, 0.001, 0.01, 0.1, 1.0, 10.0)
    }
    for head in ("plain", "free")
}
ON_THE_WAY = Recipe("info_nce", 0.2, moments=8)

EVERYTHING = tuple(
    dict.fromkeys(
        [
            *PLAIN.values(),
            *HARD.values(),
            *(SIMPLE, HARD_SIMPLE, TRIPLET),
            *(recipe for some in ESCAPES.values() for recipe in some.values()),
            *RATIOS.values(),
            *TOGETHER.values(),
            *(ALIGN_ONLY, UNIFORM_ONLY, BAD_START),
            *FINETUNED.values(),
            *(recipe for some in BATCHES.values() for recipe in some.values()),
        ]
    )
)
"""All encoders of 64 dimensions under the usual views: what a cloud of encoders is made of."""
