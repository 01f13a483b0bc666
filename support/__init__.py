"""What the exercises need and do not teach; it knows no exercise, no network and no loop."""
