"""Exercice 1, la solution : faire ressortir les motifs horizontaux, puis verticaux, d'une image.

    python docs/exercices/solutions/ex01.py

Les résultats sont écrits dans runs/ et comparés à ceux du cours, images/ex01_horizontal.png et
images/ex01_vertical.png.
"""
import os
import sys

sys.path.append("docs/exercices")  # depuis la racine du dépôt
import outils  # dit en français ce qui manque ou ce qui est faux

import numpy as np
import tensorflow.compat.v1 as tf
from PIL import Image

tf.disable_eager_execution()  # TensorFlow 1 : d'abord le graphe, ensuite le calcul
outils.start(__file__)

# L'image en niveaux de gris. On répète les pixels du bord : le résultat aura ainsi la taille de
# l'image, sans cadre artificiel. conv2d attend quatre axes : [images, lignes, colonnes, canaux].
grey = np.asarray(Image.open("images/source.jpg").convert("L"), np.float32)
image = np.pad(grey, 1, mode="edge")[np.newaxis, :, :, np.newaxis]

# ---- Les filtres ----
# Un motif horizontal, c'est une ligne qui diffère de ses voisines. Un filtre le trouve s'il
# soustrait les trois pixels du dessus aux trois pixels du dessous, celui du milieu comptant double.
horizontal = np.float32([[-1, -2, -1], [0, 0, 0], [1, 2, 1]])
vertical = horizontal.T  # le même filtre, lignes et colonnes échangées

# conv2d applique les deux filtres à la fois. Il attend un noyau de forme
# [hauteur, largeur, canaux d'entrée, filtres], donc [3, 3, 1, 2] ici. np.stack donne [3, 3, 2] ;
# l'indice [:, :, np.newaxis] ajoute l'axe qui manque.
kernel = np.stack([horizontal, vertical], axis=-1)[:, :, np.newaxis]
outils.check_kernel(kernel)

# ---- Le graphe ----
pixels = tf.placeholder(tf.float32, image.shape)
responses = tf.nn.conv2d(pixels, kernel, strides=1, padding="VALID")
outils.check_responses(pixels, responses)

# Le signe dit quel côté est le plus clair ; seule la force du motif nous intéresse. 255 est blanc.
strengths = tf.minimum(tf.abs(responses), 255)

# ---- Le calcul ----
with tf.Session() as session:
    result = session.run(strengths, {pixels: image})

os.makedirs("runs", exist_ok=True)
for index, name in enumerate(["ex01_horizontal.png", "ex01_vertical.png"]):
    found = result[0, :, :, index].astype(np.uint8)
    Image.fromarray(found).save(os.path.join("runs", name))
    expected = np.asarray(Image.open(os.path.join("images", name)))
    if not np.array_equal(found, expected):
        raise SystemExit("Écrit : runs/%s, différente de celle du cours" % name)
    print("Écrit : runs/%s, identique à celle du cours" % name)
