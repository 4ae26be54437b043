"""Networks: modules that know no cost."""
