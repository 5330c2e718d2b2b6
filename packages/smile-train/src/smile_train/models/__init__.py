"""The student: a video transformer with joint space-time attention, as VideoMAE's and SMILE's."""
