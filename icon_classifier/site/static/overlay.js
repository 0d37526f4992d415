// Overlay the heatmap of a prediction on the image, as icon_classifier/model/heatmap.py does.

const RED = [230, 30, 20];
const GREYISH = 0.8; // 1: without colours
const DENSEST = 160 / 255; // the opacity of red where the heatmap is largest

/** Return a data URL of a greyish copy of a thumbnail (a Blob), redder where the heatmap is larger. */
export async function overlay(thumbnail, { heatmap, crop }, size) {
  const bitmap = await createImageBitmap(thumbnail);
  const { width, height } = bitmap;
  const [canvas, context] = canvasOf(width, height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const image = context.getImageData(0, 0, width, height);
  const visible = crop.map((edge, i) => Math.round((edge * [width, height][i % 2]) / size[i % 2]));
  const opacity = opacities(heatmap, visible, width, height);
  const pixels = image.data;
  for (let i = 0; i < pixels.length; i += 4) {
    const grey = 0.299 * pixels[i] + 0.587 * pixels[i + 1] + 0.114 * pixels[i + 2];
    const red = opacity[i + 3] / 255;
    for (let c = 0; c < 3; c++) {
      const greyish = pixels[i + c] + GREYISH * (grey - pixels[i + c]);
      pixels[i + c] = RED[c] * red + greyish * (1 - red);
    }
  }
  context.putImageData(image, 0, 0);
  return canvas.toDataURL("image/jpeg", 0.85);
}

/** Return RGBA bytes, whose alpha is the opacity of red at each pixel: the heatmap, enlarged to the visible box. */
function opacities({ rows, columns, values }, [left, top, right, bottom], width, height) {
  const most = Math.max(...values, 1e-9);
  const [small, heat] = canvasOf(columns, rows);
  const cells = heat.createImageData(columns, rows);
  for (const [i, value] of [...values].entries()) cells.data[4 * i + 3] = (255 * DENSEST * Math.max(0, value)) / most;
  heat.putImageData(cells, 0, 0);
  const [, context] = canvasOf(width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(small, left, top, right - left, bottom - top);
  return context.getImageData(0, 0, width, height).data;
}

function canvasOf(width, height) {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  return [canvas, canvas.getContext("2d", { willReadFrequently: true })];
}
