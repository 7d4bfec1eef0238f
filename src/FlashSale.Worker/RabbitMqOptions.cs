using System.ComponentModel.DataAnnotations;
using FlashSale.Platform;

namespace FlashSale.Worker;

/// <summary>The address of the broker. Section <c>RabbitMq</c>.</summary>
public sealed class RabbitMqOptions
{
    /// <summary>
    /// AMQP URI: <c>amqp://user:password@host:port/vhost</c>, or with scheme amqps. It lists all nodes of a cluster,
    /// and may have the parameters that <see cref="RabbitMqUrl"/> takes.
    /// </summary>
    [Required, Secret]
    public string Url { get; set; } = "";

    /// <summary>Parses <see cref="Url"/>.</summary>
    /// <exception cref="InvalidSettingException">The URL is not an AMQP URI, or has a parameter that cannot be
    /// honoured.</exception>
    public RabbitMqUrl Read() => RabbitMqUrl.Read(Url);
}
