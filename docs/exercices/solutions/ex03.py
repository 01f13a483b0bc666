"""Exercice 3, la solution : reconnaître l'objet d'une photo, depuis la ligne de commande.

    python docs/exercices/solutions/ex03.py                    entraîne, enregistre dans runs/ex03/
    python docs/exercices/solutions/ex03.py images/avion.jpg   affiche « Prédiction: Avion »
"""
import os
import sys

sys.path.append("docs/exercices")  # depuis la racine du dépôt
import outils  # lit les données, et dit en français ce qui manque ou ce qui est faux

import numpy as np
import tensorflow.compat.v1 as tf
from PIL import Image
from tensorflow import keras

tf.disable_eager_execution()  # TensorFlow 1 : d'abord le graphe, ensuite le calcul
outils.start(__file__)

EPOCHS = 5
BATCH_SIZE = 100
CHECKPOINT = os.path.join("runs", "ex03", "model")
CLASS_NAMES = ["Avion", "Automobile", "Oiseau", "Chat", "Cerf",
               "Chien", "Grenouille", "Cheval", "Bateau", "Camion"]


def network(images):
    """Des images uint8 [N, 32, 32, 3] -> un score par classe, float32 [N, 10]."""
    x = tf.cast(images, tf.float32) / 255
    # Comme dans l'exercice 2, mais en couleurs : trois canaux à l'entrée au lieu d'un.
    x = tf.layers.conv2d(x, 32, 3, padding="same", activation=tf.nn.relu)
    x = tf.layers.max_pooling2d(x, 2, 2)
    x = tf.layers.conv2d(x, 64, 3, padding="same", activation=tf.nn.relu)
    x = tf.layers.max_pooling2d(x, 2, 2)
    x = tf.layers.conv2d(x, 128, 3, padding="same", activation=tf.nn.relu)
    features = tf.layers.max_pooling2d(x, 2, 2)
    flat = tf.layers.flatten(features)
    dense = tf.layers.dense(flat, 256, activation=tf.nn.relu)
    return tf.layers.dense(dense, 10)


def restore(checkpoint):
    """Le réseau tel qu'il a été enregistré : une session, son entrée, ses scores."""
    images = tf.placeholder(tf.uint8, [None, 32, 32, 3])
    logits = network(images)
    outils.check_checkpoint(checkpoint)
    session = tf.Session()
    tf.train.Saver().restore(session, checkpoint)  # les poids du fichier, au lieu du hasard
    return session, images, logits


def classify(picture, session, images, logits):
    """Le nom de la classe d'une image de Pillow, quels que soient sa taille et ses couleurs."""
    pixels = np.asarray(picture.convert("RGB").resize((32, 32), Image.BILINEAR))[np.newaxis]
    scores = session.run(logits, {images: pixels})[0]
    return CLASS_NAMES[np.argmax(scores)]


def train():
    """Entraîner le réseau sur CIFAR-10, l'enregistrer, et juger celui que l'on relit."""
    cifar10 = keras.datasets.cifar10
    (train_images, train_labels), (test_images, test_labels) = outils.load_data(cifar10)
    held_out = len(train_images) // 25  # la validation, pour comparer ses choix sans voir le test
    images = tf.placeholder(tf.uint8, [None, 32, 32, 3])
    labels = tf.placeholder(tf.int32, [None])
    logits = network(images)
    outils.check_layers(logits)
    loss = tf.losses.sparse_softmax_cross_entropy(labels, logits)
    step = tf.train.AdamOptimizer(0.001).minimize(loss)
    saver = tf.train.Saver()
    outils.check_training(images, labels, logits, loss, step, (train_images, train_labels),
                          saver=saver, restore=restore)
    right = tf.equal(tf.argmax(logits, axis=1, output_type=tf.int32), labels)
    accuracy = tf.reduce_mean(tf.cast(right, tf.float32))
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for epoch in range(EPOCHS):
            order = held_out + np.random.permutation(len(train_images) - held_out)
            for lot in np.split(order, range(BATCH_SIZE, len(order), BATCH_SIZE)):
                session.run(step, {images: train_images[lot], labels: train_labels[lot]})
            seen, unseen = [session.run(accuracy, {images: train_images[lot],
                                                   labels: train_labels[lot]})
                            for lot in (order[:held_out], np.arange(held_out))]
            print("Époque %d : exactitude : entraînement %.1f %%, validation %.1f %%"
                  % (epoch + 1, 100 * seen, 100 * unseen), flush=True)
        os.makedirs(os.path.dirname(CHECKPOINT), exist_ok=True)
        saver.save(session, CHECKPOINT)
    with tf.Graph().as_default():  # le test, une seule fois, par le chemin que prend la commande
        restored = restore(CHECKPOINT)
        found = [classify(Image.fromarray(image), *restored) == CLASS_NAMES[label]
                 for image, label in zip(test_images[:1000], test_labels)]
    print("Poids relus de %s, 1000 images de test : %.1f %%" % (CHECKPOINT, 100 * np.mean(found)))


if __name__ == "__main__":
    path = sys.argv[1] if len(sys.argv) > 1 else ""
    outils.check_prediction(classify, CLASS_NAMES)
    if path:
        print("Prédiction: %s" % classify(Image.open(path), *restore(CHECKPOINT)))
    else:
        train()
