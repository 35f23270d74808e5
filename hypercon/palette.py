"""What colours mean in every picture: one thing has one colour, and all stay apart for colour-blind readers."""

POSITIVE, SAME, OTHER = "#117733", "#0072B2", "#D55E00"  # the positive, the anchor's own class, another class
INK, FAINT = "#222222", "#B8B8B8"
CURVES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")  # Okabe & Ito's
# ten classes: Paul Tol's "muted" scheme and a grey; pictures put markers beside them
CLASS_COLOURS = (
    "#332288",
    "#88CCEE",
    "#CC6677",
    "#117733",
    "#DDCC77",
    "#AA4499",
    "#44AA99",
    "#882255",
    "#999933",
    "#777777",
)
