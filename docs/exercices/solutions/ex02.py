"""Exercice 2, la solution : reconnaître les vêtements de Fashion-MNIST.

    python docs/exercices/solutions/ex02.py
"""
import sys

sys.path.append("docs/exercices")  # depuis la racine du dépôt
import outils  # lit les données, et dit en français ce qui manque ou ce qui est faux

import numpy as np
import tensorflow.compat.v1 as tf
from tensorflow import keras

tf.disable_eager_execution()  # TensorFlow 1 : d'abord le graphe, ensuite le calcul
outils.start(__file__)

EPOCHS = 5
BATCH_SIZE = 128

# ---- Les données : des images uint8 [N, 28, 28] et, pour chacune, une étiquette de 0 à 9 ----
fashion_mnist = keras.datasets.fashion_mnist
(train_images, train_labels), (test_images, test_labels) = outils.load_data(fashion_mnist)
held_out = len(train_images) // 30  # la validation, pour comparer ses choix sans voir le test

# ---- Le réseau ----
images = tf.placeholder(tf.uint8, [None, 28, 28])
labels = tf.placeholder(tf.int32, [None])
x = tf.cast(images, tf.float32)[..., tf.newaxis] / 255  # [N, 28, 28, 1], de 0 à 1

# À vous de choisir noyaux, pas et nombres de filtres. Chaque couche a une ReLU, sauf la dernière :
# activation=tf.nn.relu. Avec padding="same" et un pas de 1, une convolution garde la taille.
conv1 = tf.layers.conv2d(x, 32, 5, padding="same", activation=tf.nn.relu)
pool1 = tf.layers.max_pooling2d(conv1, 2, 2)
conv2 = tf.layers.conv2d(pool1, 64, 3, padding="same", activation=tf.nn.relu)
pool2 = tf.layers.max_pooling2d(conv2, 2, 2)
conv3 = tf.layers.conv2d(pool2, 128, 3, padding="same", activation=tf.nn.relu)
flat = tf.layers.flatten(conv3)
dense = tf.layers.dense(flat, 256, activation=tf.nn.relu)
logits = tf.layers.dense(dense, 10)
outils.check_layers(logits, outils.FASHION)

# ---- L'apprentissage ----
# La perte : l'entropie croisée, qui applique elle-même softmax aux scores. Adam la fait baisser.
loss = tf.losses.sparse_softmax_cross_entropy(labels, logits)
train = tf.train.AdamOptimizer(0.001).minimize(loss)
outils.check_training(images, labels, logits, loss, train, (train_images, train_labels))
right = tf.equal(tf.argmax(logits, axis=1, output_type=tf.int32), labels)
accuracy = tf.reduce_mean(tf.cast(right, tf.float32))

with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    for epoch in range(EPOCHS):
        order = held_out + np.random.permutation(len(train_images) - held_out)
        losses = []
        for lot in np.split(order, range(BATCH_SIZE, len(order), BATCH_SIZE)):
            feed = {images: train_images[lot], labels: train_labels[lot]}
            losses.append(session.run([loss, train], feed)[0])
        # L'exactitude sur autant d'images apprises que d'images mises de côté.
        seen, unseen = [session.run(accuracy, {images: train_images[lot],
                                               labels: train_labels[lot]})
                        for lot in (order[:held_out], np.arange(held_out))]
        print("Époque %d : perte %.3f, exactitude : entraînement %.1f %%, validation %.1f %%"
              % (epoch + 1, np.mean(losses), 100 * seen, 100 * unseen), flush=True)
    # Le test, une seule fois, à la fin : il n'a décidé de rien.
    tested = [session.run(accuracy, {images: test_images[first:first + 1000],
                                     labels: test_labels[first:first + 1000]})
              for first in range(0, len(test_images), 1000)]
    print("Test : %.1f %%" % (100 * np.mean(tested)))
