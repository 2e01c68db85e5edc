from tests.adversarial.harness import KINDS, all_attacks
from tests.adversarial.table import attack_table, split_document


def test_every_file_says_what_it_is():
    attacks = all_attacks()
    for attack in attacks:
        assert attack.kind in KINDS, attack.name
        assert attack.summary, attack.name
        assert attack.layer, attack.name
        assert "Success:" in attack.source, attack.name
        assert "def attack(" in attack.source, attack.name
        assert "def honest(" in attack.source or "honest = " in attack.source, attack.name
    assert len(attacks) >= 40


def test_the_document_and_the_files_agree():
    """`python -m tests.adversarial.table` writes the table anew."""
    _, table, _ = split_document()
    assert table.strip() == attack_table().strip()
