"""The paper's and the article's claims as experiments: base recipe, differences, runs, report."""
