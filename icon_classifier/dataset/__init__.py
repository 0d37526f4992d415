"""Turn labels and addresses into photos on disk, without fastai or torch."""
