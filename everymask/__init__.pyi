from .api import load as load
from .core.labels import Labels as Labels
from .core.masks import Masks as Masks
from .core.sample import Sample as Sample
from .core.segmentation import InstanceSet as InstanceSet
from .core.segmentation import PanopticMap as PanopticMap
from .core.segmentation import SemanticMap as SemanticMap
from .data.coco import read_coco as read_coco
from .data.dataset import Dataset as Dataset
from .data.formats import read_dataset as read_dataset
from .data.instance_pngs import read_instance_pngs as read_instance_pngs
from .data.labelme import read_labelme as read_labelme
from .data.mask_files import read_mask_files as read_mask_files
from .data.voc import read_voc as read_voc
from .data.yolo import read_yolo as read_yolo
from .errors import EverymaskError as EverymaskError
from .evaluate import evaluate as evaluate
from .infer.result import Result as Result
from .models.specs import FasterRCNN as FasterRCNN
from .models.specs import MaskRCNN as MaskRCNN
from .models.specs import faster_rcnn_v2 as faster_rcnn_v2
from .models.specs import mask_rcnn_small as mask_rcnn_small
from .models.specs import mask_rcnn_v2 as mask_rcnn_v2
from .train.config import TrainConfig as TrainConfig
from .train.run import train as train

__version__: str
