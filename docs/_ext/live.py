"""``{live}``: an explanation of trained embeddings with a temperature to move, put into a page as it is built."""

from pathlib import Path

import numpy as np
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import hypercon as hc

COUNT = 120  # anchors: the page holds their similarities


def explanation() -> str:
    """An encoder trained for some seconds on the digits that ship, explained at 0.2."""
    rng = np.random.default_rng(0)
    train, test = hc.data.load("digits"), hc.data.load("digits", "test")
    encoder, views = hc.nn.mlp(train.images.shape[1:], rng=rng), hc.data.mild(window=0.8)
    hc.fit(
        encoder,
        train.images,
        loss="info_nce",
        temperature=0.2,
        epochs=15,
        batch_size=256,
        optimizer=hc.optim.Adam(encoder.parameters(), 2e-3),
        augment=views,
        rng=rng,
    )
    images, labels = test.images[:COUNT], test.labels[:COUNT]
    z1, z2 = (encoder.embed(view)[1] for view in views.two_views(images, rng=rng))
    return hc.explain(z1, z2, temperature=0.2, labels=labels)._repr_html_()


class Live(SphinxDirective):
    """The explanation as raw HTML; it is made once for each build folder."""

    def run(self) -> list[nodes.Node]:
        kept = Path(self.env.doctreedir) / "live.html"
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(explanation())
        return [nodes.raw("", f'<div class="hypercon-live">{kept.read_text()}</div>', format="html")]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("live", Live)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
