"""Where ``{{ secrets.NAME }}`` gets its value: providers behind one port, fetched at the step and never stored."""
