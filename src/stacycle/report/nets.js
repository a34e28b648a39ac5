// The surface of a volume at a level: naive surface nets (Gibson 1998). One vertex lies in each cell that the surface
// passes, at the mean of where it crosses the cell's edges; one quad crosses each edge that the surface crosses.
"use strict";

// volume: bytes (z, y, x) of shape [nz, ny, nx], taken as 0 outside; local: the same of colours, or null.
// Returns positions and normals (x, y, z in voxels from the middle), colours (0..255; 0 where there is none), triangles.
function surfaceNets(volume, shape, level, local) {
  const [nz, ny, nx] = shape;
  const at = (x, y, z) =>
    x < 0 || y < 0 || z < 0 || x >= nx || y >= ny || z >= nz ? 0 : volume[(z * ny + y) * nx + x];
  const positions = [], normals = [], colours = [], triangles = [];
  const wide = nx + 1, high = ny + 1; // cells lie from -1 to n - 1 on each axis
  const vertexOf = new Int32Array(wide * high * (nz + 1)).fill(-1);
  const cell = (x, y, z) => ((z + 1) * high + y + 1) * wide + x + 1;
  const corner = new Float32Array(8);

  for (let z = -1; z < nz; z++)
    for (let y = -1; y < ny; y++)
      for (let x = -1; x < nx; x++) {
        let inside = 0;
        for (let c = 0; c < 8; c++) {
          corner[c] = at(x + (c & 1), y + ((c >> 1) & 1), z + (c >> 2));
          if (corner[c] > level) inside |= 1 << c;
        }
        if (inside === 0 || inside === 255) continue;
        let sx = 0, sy = 0, sz = 0, count = 0;
        for (let a = 0; a < 8; a++)
          for (let bit = 1; bit < 8; bit <<= 1) {
            const b = a | bit;
            if (a & bit || !(((inside >> a) ^ (inside >> b)) & 1)) continue;
            const t = (level - corner[a]) / (corner[b] - corner[a]);
            sx += (a & 1) + (bit === 1 ? t : 0);
            sy += ((a >> 1) & 1) + (bit === 2 ? t : 0);
            sz += (a >> 2) + (bit === 4 ? t : 0);
            count++;
          }
        const px = x + sx / count, py = y + sy / count, pz = z + sz / count;
        vertexOf[cell(x, y, z)] = positions.length / 3;
        positions.push(px - (nx - 1) / 2, py - (ny - 1) / 2, pz - (nz - 1) / 2);
        // The slope of the density over the cell: outwards is downwards.
        const gx = corner[0] + corner[2] + corner[4] + corner[6] - corner[1] - corner[3] - corner[5] - corner[7];
        const gy = corner[0] + corner[1] + corner[4] + corner[5] - corner[2] - corner[3] - corner[6] - corner[7];
        const gz = corner[0] + corner[1] + corner[2] + corner[3] - corner[4] - corner[5] - corner[6] - corner[7];
        const length = Math.hypot(gx, gy, gz) || 1;
        normals.push(gx / length, gy / length, gz / length);
        const cx = Math.round(px), cy = Math.round(py), cz = Math.round(pz);
        const there = local && cx >= 0 && cy >= 0 && cz >= 0 && cx < nx && cy < ny && cz < nz;
        colours.push(there ? local[(cz * ny + cy) * nx + cx] : 0);
      }

  const quad = (a, b, c, d) => triangles.push(a, b, c, a, c, d);
  for (let z = 0; z <= nz; z++)
    for (let y = 0; y <= ny; y++)
      for (let x = 0; x <= nx; x++) {
        const here = at(x, y, z) > level;
        // The four cells around the edge from (x, y, z) back along each axis.
        const v = (i, j, k) => vertexOf[cell(x - i, y - j, z - k)];
        if (x < nx && y < ny && here !== at(x, y, z - 1) > level)
          quad(v(0, 0, 1), v(1, 0, 1), v(1, 1, 1), v(0, 1, 1));
        if (x < nx && z < nz && here !== at(x, y - 1, z) > level)
          quad(v(0, 1, 0), v(0, 1, 1), v(1, 1, 1), v(1, 1, 0));
        if (y < ny && z < nz && here !== at(x - 1, y, z) > level)
          quad(v(1, 0, 0), v(1, 1, 0), v(1, 1, 1), v(1, 0, 1));
      }
  return {
    positions: new Float32Array(positions),
    normals: new Float32Array(normals),
    colours: new Uint8Array(colours),
    triangles: new Uint32Array(triangles),
  };
}
