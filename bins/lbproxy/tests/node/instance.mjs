// What every instance does: say where it listens, on standard output, once it does.
//
// Started as `node FILE NAME ADDRESS PORT`; port 0 asks the system for one.

export const [name, address, port] = process.argv.slice(2);

export function listen(server) {
  server.listen(Number(port), address, () => {
    console.log(`listening ${server.address().address}:${server.address().port}`);
  });
}
