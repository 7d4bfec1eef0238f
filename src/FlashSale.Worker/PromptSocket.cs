using System.Net.Sockets;
using RabbitMQ.Client;

namespace FlashSale.Worker;

/// <summary>
/// A connection whose first answer must come in time. The client bounds the greeting of AMQP, but not that of TLS: a node that
/// hangs, whose kernel still takes connections, would be waited for without end, while other nodes answer.
/// </summary>
internal sealed class PromptSocket(Socket socket, TimeSpan patience) : TcpClientAdapter(socket)
{
    /// <summary>Makes the sockets of a connection factory.</summary>
    /// <param name="factory">Of the client, or of MassTransit.</param>
    /// <param name="patience">How long a node may take for its first answer.</param>
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
