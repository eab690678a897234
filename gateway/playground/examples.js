// A few pages to try the playground with, drawn here: no file is fetched from anywhere.

const INK = "#1d2433";
const SIZE = [620, 800];

/** Queries that the example pages answer. */
export const QUERIES = ["replace the battery", "total of the invoice", "lemon cake", "departure to Lisbon"];

const PAGES = {
  "battery.png": (pen) => {
    pen.title("Replacing the battery");
    pen.text("Switch the lamp off and let it cool.", "Turn the screw on the back to the left",
      "and lift the cover. Pull the old battery", "out by its ribbon and slide the new one",
      "in with the plus sign up.");
    pen.gap(30);
    pen.battery(140, 320, 150);
    pen.text("", "Never burn or open a battery.");
  },
  "invoice.png": (pen) => {
    pen.title("Invoice 2041");
    pen.text("To: Harbour Bakery", "For: repair of two ovens");
    pen.rows([["Work, six hours", "420.00"], ["Heating rods", "96.50"], ["Travel", "35.00"]]);
    pen.rows([["Total", "551.50"]], "bold ");
    pen.text("", "Please pay within thirty days.");
  },
  "recipe.png": (pen) => {
    pen.title("Lemon cake");
    pen.text("200 g butter, 180 g sugar, 4 eggs,", "250 g flour, the juice of two lemons.", "",
      "Stir butter and sugar until they are", "white, add the eggs one by one, then",
      "the flour and the juice. Bake for fifty", "minutes in a warm oven.");
  },
  "timetable.png": (pen) => {
    pen.title("Departures");
    pen.rows([["07:12  Madrid", "platform 4"], ["08:40  Lisbon", "platform 2"],
      ["09:05  Porto", "platform 7"], ["11:30  Seville", "platform 1"]]);
    pen.text("", "Trains to the coast are late today.");
  },
  "rainfall.png": (pen) => {
    pen.title("Rainfall by month");
    pen.bars([58, 41, 66, 90, 120, 74], ["Jan", "Feb", "Mar", "Apr", "May", "Jun"]);
    pen.text("", "May was the wettest month since the", "measurements began.");
  },
};

class Pen {
  constructor() {
    this.canvas = document.createElement("canvas");
    [this.canvas.width, this.canvas.height] = SIZE;
    this.on = this.canvas.getContext("2d");
    this.fill("#fff", 0, 0, ...SIZE);
    this.y = 110;
  }

  fill(colour, ...box) {
    this.on.fillStyle = colour;
    this.on.fillRect(...box);
  }

  write(text, x, font, align = "left") {
    Object.assign(this.on, { font: `${font} "DejaVu Serif", Georgia, serif`, textAlign: align });
    this.on.fillStyle = INK;
    this.on.fillText(text, x, this.y);
  }

  title(text) {
    this.write(text, 64, "bold 38px");
    this.y += 70;
  }

  text(...lines) {
    for (const line of lines) {
      this.write(line, 64, "24px");
      this.y += 38;
    }
  }

  rows(rows, weight = "") {
    for (const [left, right] of rows) {
      this.write(left, 64, `${weight}24px`);
      this.write(right, SIZE[0] - 64, `${weight}24px`, "right");
      this.fill("#c3cad6", 64, this.y + 14, SIZE[0] - 128, 1);
      this.y += 52;
    }
  }

  gap(height) {
    this.y += height;
  }

  battery(x, width, height) {
    this.box(x + width - 3, this.y + height / 3, 24, height / 3, "#c9d4e8");
    this.box(x, this.y, width, height, "#e7ecf5");
    this.box(x, this.y, width / 3, height, "#5b7db1");
    this.y += height / 2 + 12;
    this.write("+", x + width - 60, "bold 40px");
    this.y += height / 2 + 20;
  }

  box(x, y, width, height, colour) {
    this.fill(INK, x, y, width, height);
    this.fill(colour, x + 3, y + 3, width - 6, height - 6);
  }

  bars(values, names) {
    values.forEach((value, index) => {
      const x = 70 + index * 84;
      this.fill("#5b7db1", x, this.y + 240 - 2 * value, 56, 2 * value);
    });
    this.y += 280;
    names.forEach((name, index) => this.write(name, 76 + index * 84, "22px"));
    this.y += 40;
  }
}

/** Draw the pages; resolves to PNG files. */
export function drawExamples() {
  return Promise.all(
    Object.entries(PAGES).map(async ([name, draw]) => {
      const pen = new Pen();
      draw(pen);
      const blob = await new Promise((resolve) => pen.canvas.toBlob(resolve, "image/png"));
      return new File([blob], name, { type: "image/png" });
    }),
  );
}
