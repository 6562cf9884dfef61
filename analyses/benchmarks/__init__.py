"""The field's benchmarks: TruthfulQA, UltraFeedback, RealToxicityPrompts, CAA's A/B questions, HateCheck.

Data and models are given by hub name or by local path; nothing of them stands in this package.
`python -m analyses.benchmarks truthfulqa-choice --model … --data …/mc_task.json --out …` (`--help` lists all)
"""
