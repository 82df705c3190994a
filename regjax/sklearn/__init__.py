"""scikit-learn's estimators and searches, trained by regjax."""
