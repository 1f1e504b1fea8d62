"""The code of this book alone: its pages, claims, and the numbers that it prints. `clipnb` never imports it."""
