"""Ce que les exercices n'enseignent pas : lire les données, et dire en français ce qui est faux.

Rien n'est à changer ici. Une erreur donne une phrase et le code de sortie 1, avant les minutes
d'entraînement ; avec --check, le programme s'arrête après les vérifications.
"""
import logging
import os
import re
import sys
import tempfile
import traceback
import warnings
from types import SimpleNamespace

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # avant TensorFlow 2 : tf.layers a besoin de tf-keras
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # il parle beaucoup
warnings.filterwarnings("ignore", ".tf.layers", UserWarning)
logging.getLogger("tensorflow").setLevel("ERROR")

import numpy as np
import tensorflow.compat.v1 as tf
from PIL import Image

LAYERS = {"Conv2D": "convolution", "MaxPool": "max-pooling", "MatMul": "dense", "Relu": "relu",
          "AvgPool": "average-pooling"}
FASHION = "convolution, max-pooling, convolution, max-pooling, convolution, dense, dense"
CHECK = "--check" in sys.argv
sys.argv = [word for word in sys.argv if word != "--check"]


def stop(sentence, *values):
    raise SystemExit("Erreur : " + sentence % values)


def start(path):
    """Nommer la première ligne à compléter ; ensuite, toute exception devient une phrase."""
    with open(path, encoding="utf-8") as stream:
        lines = [line.strip() for line in stream]
    for number, line in enumerate(lines, 1):
        if re.match(r"(\w+ = |return )?None\b", line):
            stop("il reste à compléter la ligne %d : %s", number, line)
    sys.excepthook = lambda kind, error, trace: print(sentence(path, lines, error), file=sys.stderr)


def sentence(path, lines, error):
    """Où une exception est née dans le programme, et ce que sont les tenseurs de cette ligne."""
    if isinstance(error, KeyboardInterrupt):
        return "Interrompu."
    frame, number = [place for place in traceback.walk_tb(error.__traceback__)
                     if path.endswith(place[0].f_code.co_filename)][-1]
    line, known = lines[number - 1].split("  #")[0], dict(frame.f_globals, **frame.f_locals)
    tensors = [" %s est %s %s." % (name, known[name].dtype.name, known[name].shape)
               for name in dict.fromkeys(re.findall(r"\w+", line))
               if isinstance(known.get(name), (np.ndarray, tf.Tensor))]
    reason = re.sub("Graph execution error:|Detected at node.*", "", str(error)).strip()
    return "Erreur : la ligne %d, « %s », ne peut pas être exécutée (%s : %s).%s" % (
        number, line, type(error).__name__, reason.split("\n")[0][:300], "".join(tensors))


def load_data(keras_dataset):
    """Ce que rend keras_dataset.load_data(), lu dans $KERAS_HOME/datasets si c'est là."""
    sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
    if keras_dataset.__name__.endswith("fashion_mnist"):
        import ex02_fashion_cnn
        return ex02_fashion_cnn.load_data()
    from ex03_cifar import dataset
    return dataset.load_train(), dataset.load_test()


def before(result):
    """Les opérations du graphe dont dépend un tenseur ou une opération, dans leur ordre."""
    graph, name = result.graph, getattr(result, "op", result).name
    nodes = tf.graph_util.extract_sub_graph(graph.as_graph_def(), [name]).node
    return [graph.get_operation_by_name(node.name) for node in nodes]


def check_kernel(kernel):
    """Exercice 1 : la forme du noyau, les nombres des filtres et leur ordre."""
    if np.shape(kernel) != (3, 3, 1, 2):
        stop("kernel a la forme %s ; il faut (3, 3, 1, 2) : hauteur, largeur, canaux, filtres.",
             np.shape(kernel))
    right = np.outer([-1, 0, 1], [1, 2, 1])
    for found, expected, name in ((kernel[..., 0, 0], right, "premier filtre, horizontal,"),
                                  (kernel[..., 0, 1], right.T, "second filtre, vertical,")):
        if np.array_equal(abs(found), abs(expected.T)):
            stop("le %s trouve l'autre direction : voyez l'ordre des filtres et les axes.", name)
        if not np.array_equal(abs(found), abs(expected)) or found.sum():
            stop("le %s n'est pas celui qui est décrit : %s (somme %g ; il faut 0).", name,
                 found.tolist(), found.sum())


def check_responses(pixels, responses):
    """Exercice 1 : une convolution de l'image, son pas et son bord."""
    found = [operation for operation in before(responses) if operation.type == "Conv2D"]
    if len(found) != 1 or found[0].inputs[0] is not pixels:
        stop("responses n'est pas tf.nn.conv2d(pixels, kernel, ...).")
    strides, padding = found[0].get_attr("strides"), found[0].get_attr("padding").decode()
    if strides != [1, 1, 1, 1]:
        stop("le pas de conv2d est %d ; il faut 1.", max(strides))
    if padding != "VALID":
        stop("padding est %s ; il faut VALID, puisque le bord de l'image est déjà répété.", padding)


def check_layers(logits, layers=""):
    """Les couches, lues dans le graphe : ordre, noyaux, formes, paramètres, ReLU."""
    if not isinstance(logits, tf.Tensor):
        stop("logits vaut %r : il manque un return, ou la dernière couche.", logits)
    found = [operation for operation in before(logits) if operation.type in LAYERS]
    names = [LAYERS[operation.type] for operation in found]
    for name, operation in zip(names, found):
        shape, output = operation.inputs[-1].shape.as_list(), operation.outputs[0].shape.as_list()
        if "pooling" in name and operation.get_attr("strides")[1] < 2:
            stop("un pooling rend une carte de %d×%d : son pas doit être 2.", *output[1:3])
        if name == "convolution" and not 1 < shape[0] <= shape[3]:
            stop("%d filtres de côté %d ? conv2d veut le nombre de filtres, puis le côté du noyau, "
                 "plus grand que 1.", shape[3], shape[0])
        if name in ("convolution", "dense"):
            bias = any(one.type == "BiasAdd" for one in operation.outputs[0].consumers())
            print("%-11s  noyau %-16s  sortie %-16s  %7d paramètres" % (
                name, shape, output[1:], np.prod(shape) + bias * shape[-1]))
    order = ", ".join(name for name in names if name != "relu")
    if not re.match((layers or "convolution.*dense") + "$", order):
        stop("il faut ces couches, chacune recevant celle d'avant : %s. Votre réseau a : %s.",
             layers or "convolution, ..., dense", order)
    if logits.shape.as_list() != [None, 10]:
        stop("logits a la forme %s ; il faut (?, 10) : par image, aplatie, un score par classe.",
             logits.shape)
    layer = "(convolution|dense)"
    if re.search(layer + r", (\S+-pooling, )?" + layer + "|relu$", ", ".join(names)):
        stop("chaque couche a sa ReLU, activation=tf.nn.relu, sauf la dernière. Votre réseau : %s.",
             ", ".join(names))


def check_training(images, labels, logits, loss, train, examples, saver=None, restore=None):
    """La perte, vingt images apprises par cœur, et le réseau relu d'un fichier."""
    types = [operation.type for operation in before(loss)]
    if "SoftmaxCrossEntropyWithLogits" not in "".join(types) or loss.shape.ndims or (
            not {labels.op, logits.op} <= set(before(loss))):
        stop("loss doit être un nombre, l'entropie croisée des étiquettes (labels) et des scores "
             "(logits).")
    if "Softmax" in types:
        stop("softmax est calculé deux fois : la perte l'applique elle-même aux scores (logits).")
    if not isinstance(train, tf.Operation) or labels.op not in before(train):
        stop("c'est la perte que l'optimiseur doit faire baisser : ….minimize(loss).")
    if restore and not isinstance(saver, tf.train.Saver):
        stop("saver n'est pas un Saver, mais %r : il manque des parenthèses.", saver)
    feed = {images: examples[0][:20], labels: examples[1][:20]}
    with tf.Session() as session, tempfile.TemporaryDirectory() as folder:
        session.run(tf.global_variables_initializer())
        losses = [session.run([loss, train], feed)[0] for _ in range(150)]
        print("Vingt images apprises par cœur : perte %.2f, puis %.2f" % (losses[0], losses[-1]))
        if abs(losses[0] - np.log(10)) > 0.7:
            stop("la première perte doit être proche de ln 10 = 2,30, la perte du hasard.")
        if not losses[-1] < losses[0] / 2:
            stop("vingt images ne sont pas apprises par cœur : voyez l'optimiseur et son taux.")
        if restore:
            saver.save(session, os.path.join(folder, "model"))
            scores = session.run(logits, feed)
            with tf.Graph().as_default():
                again, inputs, outputs = restore(os.path.join(folder, "model"))
                if again.run(tf.report_uninitialized_variables()).size or not np.allclose(
                        scores, again.run(outputs, {inputs: examples[0][:20]}), atol=1e-3):
                    stop("restore ne rend pas le réseau enregistré : un Saver doit le relire.")
    if CHECK:
        print("Vérifié : rien à redire.")
        raise SystemExit(0)


def check_checkpoint(checkpoint):
    """Exercice 3 : les poids enregistrés sont-ils ceux du réseau que décrit le graphe ?"""
    if not os.path.exists(checkpoint + ".index"):
        stop("pas de poids dans %s : entraînez d'abord le réseau, sans argument.", checkpoint)
    stored = dict(tf.train.list_variables(checkpoint))
    for variable in tf.global_variables():
        name, here = variable.op.name, variable.shape.as_list()
        if stored.get(name) != here:
            stop("le réseau a changé depuis l'entraînement, à refaire : %s est %s ici, %s dans %s.",
                 name, here, stored.get(name, "absent"), checkpoint)


def check_prediction(classify, names):
    """Exercice 3 : ce que classify donne au réseau, et ce qu'il fait des scores."""
    pixels = np.random.RandomState(0).randint(0, 256, (32, 32, 3)).astype(np.uint8)
    picture, fed = Image.fromarray(pixels), []
    session = SimpleNamespace(run=lambda scores, feed: fed.extend(feed.values()) or np.eye(10)[3:4])
    for other in picture, picture.convert("RGBA"), picture.convert("L"), picture.resize((50, 40)):
        answer = classify(other, session, "images", "logits")
        if np.shape(fed[-1]) != (1, 32, 32, 3):
            stop("d'une image %s de taille %s, classify fait %s ; il faut (1, 32, 32, 3).",
                 other.mode, other.size, np.shape(fed[-1]))
    if answer != names[3]:
        stop("classify rend %r là où %s a le plus grand score.", answer, names[3])
    for reason, wrong in (("rouge et bleu sont échangés", pixels[:, :, ::-1]),
                          ("lignes et colonnes sont échangées", pixels.transpose(1, 0, 2)),
                          ("les pixels sont divisés par 255, ce que le réseau fait", pixels / 255)):
        if np.allclose(fed[0], wrong, atol=1e-3):
            stop("dans classify, %s.", reason)
    if not np.array_equal(fed[0][0], pixels):
        stop("dans classify, les pixels d'une image de 32×32 ne restent pas ce qu'ils sont.")
