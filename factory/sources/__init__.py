"""What comes from outside: real images and given poses. Knows no model; the plan lists it, the stages read it."""
