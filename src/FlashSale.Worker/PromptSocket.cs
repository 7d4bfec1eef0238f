using System.Net.Sockets;
using RabbitMQ.Client;

namespace FlashSale.Worker;

/// <summary>
/// A connection on which the first answer must come in time. The client limits the time of the AMQP greeting, but not
/// of the TLS handshake. Without this limit it would wait without end for a hanging node with a kernel that still
/// accepts connections, while other nodes answer.
/// </summary>
internal sealed class PromptSocket(Socket socket, TimeSpan patience) : TcpClientAdapter(socket)
{
    /// <summary>Makes a connection factory open its connections with this socket.</summary>
    /// <param name="factory">The factory, made by the client or by MassTransit.</param>
    /// <param name="patience">The longest time that a node may take for its first answer.</param>
    public static void Use(ConnectionFactory factory, TimeSpan patience) => factory.SocketFactory = family =>
        new PromptSocket(new Socket(family, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true }, patience);

    /// <inheritdoc />
    public override NetworkStream GetStream() => new PromptStream(Client, patience);

    private sealed class PromptStream(Socket socket, TimeSpan patience) : NetworkStream(socket)
    {
        private bool _hasAnswered;

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            if (_hasAnswered) return await base.ReadAsync(buffer, cancellationToken);
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            limit.CancelAfter(patience);
            try
            {
                var read = await base.ReadAsync(buffer, limit.Token);
                _hasAnswered = true;
                return read;
            }
            catch (OperationCanceledException e) when (!cancellationToken.IsCancellationRequested)
            {
                throw new IOException($"The broker's node takes connections and has not answered within {patience.TotalSeconds:0.#} s.", e);
            }
        }
    }
}
