"""Geneformer's sentences by hand; without the library that runs its network."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from lloki.embed._transformer import cell_keys
from lloki.embed.geneformer.files import CLS, EOS, PAD, Vocabulary
from lloki.embed.geneformer.ranking import Sentences, rank_values

MEDIANS = np.array([1.0, 1.0, 1.0, 2.0, 0.5, 4.0])  # tokens 0 to 2 are special
COLUMNS = np.array([3, 4, -1, 5, 3])  # the last gene shares the token of the first, the third is unknown
COUNTS = np.array([[8.0, 3.0, 90.0, 4.0, 4.0], [0.0, 1.0, 9.0, 0.0, 0.0], [0.0, 0.0, 5.0, 0.0, 0.0]])
VALUES = np.array([[0, 0, 0, 6.0, 6.0, 1.0], [0, 0, 0, 0, 2.0, 0], [0, 0, 0, 0, 0, 0]])


def test_values_are_counts_of_a_token_over_its_median() -> None:
    found = rank_values(sparse.csr_matrix(COUNTS), COLUMNS, MEDIANS).toarray()
    np.testing.assert_allclose(found, VALUES)


def test_logarithms_are_added_up_as_the_counts_they_stand_for() -> None:
    scaled = COUNTS / COUNTS.sum(1, keepdims=True) * 7.5
    found = rank_values(sparse.csr_matrix(np.log1p(scaled)), COLUMNS, MEDIANS).toarray()
    np.testing.assert_allclose(found, VALUES / COUNTS.sum(1, keepdims=True) * 7.5)


def test_sentences_run_from_the_highest_value_down() -> None:
    vocabulary = Vocabulary({PAD: 0, CLS: 1, EOS: 2, "A": 3, "B": 4, "C": 5}, MEDIANS, {})
    ranked = sparse.csr_matrix([[0, 0, 0, 1.0, 3.0, 2.0], [0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 5.0, 0]])
    keys = cell_keys(0, ["a", "b", "c"])
    sentences = Sentences(ranked, keys, vocabulary, positions=5)
    assert sentences.cells.tolist() == [0, 2]
    assert sentences.lengths.tolist() == [5, 3]
    made, lengths = sentences.batch(np.array([0, 1]))
    assert made.tolist() == [[1, 4, 5, 3, 2], [1, 4, 2, 0, 0]]
    assert lengths.tolist() == [5, 3]
    short = Sentences(ranked, keys, vocabulary, positions=4)
    assert short.batch(np.array([0]))[0].tolist() == [[1, 4, 5, 2]]
