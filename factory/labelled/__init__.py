"""People in images with labels of their bodies, whatever files they come from: what estimators are trained on and
measured with."""
