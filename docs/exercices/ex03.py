"""Exercice 3 : reconnaître l'objet d'une photo, depuis la ligne de commande.

Complétez de haut en bas les lignes « À COMPLÉTER », puis lancez depuis la racine du dépôt :

    python docs/exercices/ex03.py                     entraîne et enregistre dans runs/ex03/
    python docs/exercices/ex03.py images/avion.jpg    affiche « Prédiction: Avion »
"""
import os
import sys

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # avant TensorFlow 2 : tf.layers a besoin de tf-keras

import numpy as np
import tensorflow.compat.v1 as tf
from PIL import Image
from tensorflow import keras

tf.disable_eager_execution()  # TensorFlow 1 : d'abord le graphe, ensuite le calcul

EPOCHS = 5
BATCH_SIZE = 100
CHECKPOINT = os.path.join("runs", "ex03", "model")
CLASS_NAMES = ["Avion", "Automobile", "Oiseau", "Chat", "Cerf",
               "Chien", "Grenouille", "Cheval", "Bateau", "Camion"]


def network(images):
    """Des images uint8 [N, 32, 32, 3] -> un score par classe, float32 [N, 10]."""
    x = tf.cast(images, tf.float32) / 255
    # Comme dans l'exercice 2, mais en couleurs : trois canaux à l'entrée au lieu d'un.
    features = None  # À COMPLÉTER : plusieurs lignes, des convolutions avec ReLU et des pooling
    flat = None  # À COMPLÉTER : tf.layers.flatten(features)
    dense = None  # À COMPLÉTER : une couche entièrement connectée, avec ReLU
    logits = None  # À COMPLÉTER : la couche de sortie, sans ReLU
    return completed(logits, "features, flat, dense ou logits")


def completed(value, name):
    """La valeur, si le trou a été comblé."""
    if value is None:
        raise SystemExit("Il reste à compléter : %s" % name)
    return value


def train():
    """Entraîner le réseau sur CIFAR-10 et enregistrer ses poids."""
    (train_images, train_labels), (test_images, test_labels) = keras.datasets.cifar10.load_data()
    train_labels, test_labels = train_labels.ravel(), test_labels.ravel()
    images = tf.placeholder(tf.uint8, [None, 32, 32, 3])
    labels = tf.placeholder(tf.int32, [None])
    logits = network(images)
    loss = None  # À COMPLÉTER : l'entropie croisée, comme dans l'exercice 2
    step = tf.train.AdamOptimizer(0.001).minimize(completed(loss, "loss"))
    right = tf.equal(tf.argmax(logits, axis=1, output_type=tf.int32), labels)
    saver = None  # À COMPLÉTER : tf.train.Saver(), qui enregistre et relit toutes les variables
    completed(saver, "saver")
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for epoch in range(EPOCHS):
            order = np.random.permutation(len(train_images))
            for first in range(0, len(order), BATCH_SIZE):
                chosen = order[first:first + BATCH_SIZE]
                session.run(step, {images: train_images[chosen], labels: train_labels[chosen]})
            parts = [session.run(right, {images: test_images[first:first + BATCH_SIZE],
                                         labels: test_labels[first:first + BATCH_SIZE]})
                     for first in range(0, len(test_images), BATCH_SIZE)]
            print("Époque %d : exactitude sur le test %.1f %%"
                  % (epoch + 1, 100 * np.mean(np.concatenate(parts))))
        os.makedirs(os.path.dirname(CHECKPOINT), exist_ok=True)
        saver.save(session, CHECKPOINT)
    print("Poids enregistrés : %s" % CHECKPOINT)


def predict(path):
    """Afficher la classe d'une image."""
    if not os.path.exists(CHECKPOINT + ".index"):
        raise SystemExit("Entraînez d'abord le réseau : python docs/exercices/ex03.py")
    # Le réseau ne connaît que des images de 32 x 32 pixels en couleurs.
    picture = Image.open(path).convert("RGB").resize((32, 32), Image.BILINEAR)
    images = tf.placeholder(tf.uint8, [None, 32, 32, 3])
    logits = network(images)
    with tf.Session() as session:
        # Ne pas initialiser les variables : le Saver relit les poids de CHECKPOINT.
        tf.train.Saver().restore(session, CHECKPOINT)
        scores = session.run(logits, {images: np.asarray(picture)[np.newaxis]})[0]
    name = None  # À COMPLÉTER : le nom, dans CLASS_NAMES, du plus grand score (np.argmax)
    print("Prédiction: %s" % completed(name, "name"))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        predict(sys.argv[1])
    else:
        train()
