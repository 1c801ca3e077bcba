//! What Taper is for: transfer learning and meta-learning, trained on the same data and scored on
//! the same tasks, with a verdict that claims no more than its intervals allow.
