"""Statistics in numpy and scipy: `interval` (an estimate with its limits), `text` (how it is written), `seeds` (numbers
over seeds), `power` (how many decide); of gradients `blocks` (what is kept of many), `noise`, `bias` and `limits`."""
