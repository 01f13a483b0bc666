"""Exercice 2 : reconnaître les vêtements de Fashion-MNIST avec un réseau convolutionnel.

Complétez de haut en bas les lignes « À COMPLÉTER », puis lancez depuis la racine du dépôt :

    python docs/exercices/ex02.py
"""
import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # avant TensorFlow 2 : tf.layers a besoin de tf-keras

import numpy as np
import tensorflow.compat.v1 as tf
from tensorflow import keras

tf.disable_eager_execution()  # TensorFlow 1 : d'abord le graphe, ensuite le calcul

EPOCHS = 5
BATCH_SIZE = 128
CLASS_NAMES = ['T-shirt/top', 'Trouser', 'Pullover', 'Dress',
               'Coat', 'Sandal', 'Shirt', 'Sneaker', 'Bag', 'Ankle boot']

# ---- Les données : des images uint8 [N, 28, 28] et, pour chacune, une étiquette de 0 à 9 ----
fashion_mnist = keras.datasets.fashion_mnist
(train_images, train_labels), (test_images, test_labels) = fashion_mnist.load_data()

# ---- Le réseau ----
images = tf.placeholder(tf.uint8, [None, 28, 28])
labels = tf.placeholder(tf.int32, [None])
x = tf.cast(images, tf.float32)[..., tf.newaxis] / 255  # [N, 28, 28, 1], de 0 à 1

# À vous de choisir noyaux, pas et nombres de filtres. Chaque convolution est suivie d'une ReLU :
# activation=tf.nn.relu. À côté, la forme que l'on obtient avec padding="same" et un pas de 1.
conv1 = None  # À COMPLÉTER : tf.layers.conv2d(x, ...)              [N, 28, 28, filtres]
pool1 = None  # À COMPLÉTER : tf.layers.max_pooling2d(conv1, ...)   [N, 14, 14, filtres]
conv2 = None  # À COMPLÉTER                                         [N, 14, 14, filtres]
pool2 = None  # À COMPLÉTER                                         [N, 7, 7, filtres]
conv3 = None  # À COMPLÉTER                                         [N, 7, 7, filtres]
flat = None  # À COMPLÉTER : tf.layers.flatten(...)                 [N, 49 * filtres]
dense = None  # À COMPLÉTER : tf.layers.dense(flat, ...), avec ReLU [N, unités]
logits = None  # À COMPLÉTER : un score par classe, sans ReLU       [N, 10]

# ---- L'apprentissage ----
# La perte : tf.losses.sparse_softmax_cross_entropy(labels, logits).
loss = None  # À COMPLÉTER
# Un pas d'optimiseur : tf.train.AdamOptimizer(0.001).minimize(...) ; 0.001 est le taux
# d'apprentissage.
train = None  # À COMPLÉTER

for name in "conv1 pool1 conv2 pool2 conv3 flat dense logits loss train".split():
    if globals()[name] is None:
        raise SystemExit("Il reste à compléter : %s" % name)

predictions = tf.argmax(logits, axis=1, output_type=tf.int32)


def accuracy(session, images_of, labels_of):
    """La part des images dont la classe prédite est la bonne."""
    right = 0
    for first in range(0, len(images_of), 1000):
        found = session.run(predictions, {images: images_of[first:first + 1000]})
        right += np.sum(found == labels_of[first:first + 1000])
    return right / len(images_of)


with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    for epoch in range(EPOCHS):
        order = np.random.permutation(len(train_images))
        losses = []
        for first in range(0, len(order), BATCH_SIZE):
            chosen = order[first:first + BATCH_SIZE]
            losses.append(session.run([loss, train], {images: train_images[chosen],
                                                      labels: train_labels[chosen]})[0])
        print("Époque %d : perte %.3f, exactitude sur le test %.1f %%"
              % (epoch + 1, np.mean(losses), 100 * accuracy(session, test_images, test_labels)))
    shown = session.run(predictions, {images: test_images[:5]})
    for found, label in zip(shown, test_labels):
        print("prédit : %s, juste : %s" % (CLASS_NAMES[found], CLASS_NAMES[label]))
