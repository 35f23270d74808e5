"""What colours mean in every picture: one thing has one colour, and all stay apart for colour-blind readers."""

POSITIVE, SAME, OTHER = "#117733", "#0072B2", "#D55E00"  # the positive, the anchor's own class, another class
INK, FAINT = "#222222", "#B8B8B8"
CURVES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")  # Okabe & Ito's
