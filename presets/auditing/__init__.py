"""Audits published figures: recomputes or bounds each, and says by which rule.

`audit.audit` does it, and fills RULES when its module is imported: it loads the cost model.
"""

from __future__ import annotations

from .verdict import RULES, VERDICTS, Rule, Verdict, VerdictName

__all__ = ["RULES", "VERDICTS", "Rule", "Verdict", "VerdictName"]
